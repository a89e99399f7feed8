"""What both processes stand on; imports neither web nor worker."""
