"""ringfence.image: guest images, from packages to a kernel and an initial RAM filesystem."""
