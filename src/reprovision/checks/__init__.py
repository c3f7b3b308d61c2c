"""What is wrong with data and labels, as far as pixels, sizes and a trained model show it."""
