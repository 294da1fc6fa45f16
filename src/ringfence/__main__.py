"""`python -m ringfence` is the command `ringfence`."""

from ringfence.cli.main import main

main()
