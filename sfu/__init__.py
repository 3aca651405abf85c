"""The media worker: forwards RTP packets between the people of a room and never decodes them."""
