"""Places, storeys and rooms: free space divided up."""
