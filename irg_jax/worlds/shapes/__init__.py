"""The generated world *shapes*: small images of coloured shapes whose content is known exactly."""
