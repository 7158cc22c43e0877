from models.pix2pix_model import Pix2PixModel


class PlainPixModel(Pix2PixModel):
    """pix2pix as it was, in the older contract."""

    def optimize_parameters(self):
        super().optimize_parameters()
