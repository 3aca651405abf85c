"""What a packet log holds: packets in order, frames put together from them, and the clocks of who sent them."""
