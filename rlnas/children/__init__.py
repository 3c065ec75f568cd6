"""From tokens to trained Keras models: decoder, recipes, training and data sets."""
