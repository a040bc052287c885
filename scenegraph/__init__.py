"""Objects, places, rooms, dynamic objects and the graph that holds them."""
