"""Where files run: LiteRT, TFLite Micro, and what a device needs of them."""
