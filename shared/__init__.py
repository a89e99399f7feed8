"""Code that the web processes and the workers share; it imports neither web nor worker."""
