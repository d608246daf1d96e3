"""What lies on the disk of a site: files of people, keys, and what processes write down."""
