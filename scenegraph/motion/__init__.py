"""Motion without labels: depth that ends where the sequence saw through is a thing that moves."""
