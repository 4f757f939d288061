"""The embedded world *shapes*: small pictures of coloured shapes whose truth is known exactly."""
