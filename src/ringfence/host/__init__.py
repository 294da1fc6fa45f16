"""ringfence.host: many machines on this host, each in a VMM process of its own."""
