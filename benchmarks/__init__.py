"""Speed beside something named, in one run, interleaved, medians: `make bench`."""
