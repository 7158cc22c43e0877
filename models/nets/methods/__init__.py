"""Networks that one method uses, in a file for each. They are built from the layers in models/nets/."""
