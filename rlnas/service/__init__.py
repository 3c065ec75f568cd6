"""The service: searches as jobs over HTTP, and the page to watch them; never loads TensorFlow."""
