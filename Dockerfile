# The series on CPUs, for a user without rights:
#   docker build -t multimodal .
#   docker run --rm -it -p 127.0.0.1:8888:8888 multimodal               JupyterLab; open the address that it prints
#   docker run --rm -v multimodal-data:/series/data multimodal make run  the series, headless; the volume keeps its data
FROM python:3.11-slim-bookworm

# NVTabular builds an extension; Python's headers are in the image. Versions are those of the image's Debian.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends --yes g++ make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 reader \
    && install --directory --owner reader --group reader /series /series/data /series/runs

WORKDIR /series
USER 1000:1000

# PyTorch without CUDA; where this index does not answer, the build with CUDA is taken, which is 4 GB larger.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY --chown=reader:reader requirements.txt constraints.txt Makefile ./
RUN make .venv/.ready TORCH_INDEX="$TORCH_INDEX" && rm -rf /home/reader/.cache

COPY --chown=reader:reader . .

EXPOSE 8888
# All addresses of the container; which of the machine's lead there, -p says.
CMD ["make", "lab", "LAB=--ip=0.0.0.0 --no-browser"]
