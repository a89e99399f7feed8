"""Model versions on disk, the deployment pointer, and the model that a process has loaded."""
