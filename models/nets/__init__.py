"""Networks and their layers. They take explicit arguments and know no options."""
