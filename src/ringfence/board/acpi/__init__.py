"""ringfence.board.acpi: the tables in which firmware describes the machine."""
