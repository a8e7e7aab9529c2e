"""Model families: one adapter each over diffusers models, encoders and decoders."""
