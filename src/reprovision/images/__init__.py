"""From the bytes of an image file to pixels, and pictures of many images at once."""
