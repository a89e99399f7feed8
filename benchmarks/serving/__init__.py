"""Latency, throughput and CPU of our web process, beside floors and other model servers."""
