"""The vocabulary: values that the whole core shares."""
