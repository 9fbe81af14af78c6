"""What came of it: books, statistics, exhibits, and problems walked through their rounds."""
