package main

// release is what front says about itself.
const release = "1"
