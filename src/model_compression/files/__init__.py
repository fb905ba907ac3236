"""A net becomes a .tflite file, which is run, checked and weighed."""
