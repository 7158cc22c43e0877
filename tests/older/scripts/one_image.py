"""One image through a generator, without the dataset: util.util only."""
import sys

import torch
import torchvision.transforms as transforms
from PIL import Image

from models import create_model
from options.test_options import TestOptions
from util import util

if __name__ == '__main__':
    source, target = sys.argv[1:3]
    del sys.argv[1:3]
    opt = TestOptions().parse()
    opt.batch_size = 1
    model = create_model(opt)
    model.setup(opt)
    model.eval()
    image = transforms.ToTensor()(Image.open(source).convert('RGB').resize((32, 32)))
    image = transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))(image).unsqueeze(0)
    model.set_input({'A': image, 'A_paths': source})
    with torch.no_grad():
        model.forward()
    model.test()
    fake = model.get_current_visuals()['fake']
    util.mkdirs([util_dir for util_dir in ['%s_folder' % target]])
    array = util.tensor2im(fake)
    util.print_numpy(array, shp=True)
    util.diagnose_network(model.netG, 'G')
    util.save_image(array, target, aspect_ratio=opt.aspect_ratio)
