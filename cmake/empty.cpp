// Lets a target exist while the folders it is made from are empty.
