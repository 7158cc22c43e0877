# CPU:  docker build -t pixmorph .
# GPU:  docker build -t pixmorph --build-arg TORCH_INDEX= .        (installs the CUDA build: 3 GB more to download)
#
# docker run --rm -it --shm-size 2g -v "$PWD/datasets:/pixmorph/datasets" -v "$PWD/checkpoints:/pixmorph/checkpoints" \
#     pixmorph python train.py --dataroot ./datasets/maps --name maps_cyclegan --model cyclegan
# To use a GPU, add --gpus all. Docker's default of 64 MB of shared memory is too small for the worker processes that
# load images ("bus error"): set --shm-size as above, or train with --num_threads 0.
FROM python:3.12-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_DEFAULT_TIMEOUT=120 PIP_RETRIES=10
WORKDIR /pixmorph

COPY requirements.txt requirements-visdom.txt constraints-build.txt ./
RUN pip install $(grep -oE '^torch(vision)?[^ #_a-z]*( |$)' requirements.txt) ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} \
 && pip install -r requirements.txt \
 && { PIP_CONSTRAINT=constraints-build.txt PIP_BUILD_CONSTRAINT=constraints-build.txt \
      pip install -r requirements-visdom.txt || echo 'warning: visdom could not be installed; HTML pages work without it'; }

COPY . .
CMD ["python", "train.py", "--help"]
