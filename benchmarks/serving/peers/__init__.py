"""The peers, each written as its own documentation tells, around the stock diffusers pipeline."""
