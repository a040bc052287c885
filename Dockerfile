# m2h on a CPU, without CUDA, as a user without privileges. Build and use:
#   docker build -t m2h .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" m2h run recording/ --out run/
FROM python:3.11-slim AS wheel
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.11-slim
COPY --from=wheel /wheels /wheels
# PyTorch's own index has wheels without CUDA, a tenth of the size.
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir "$(ls /wheels/*.whl)[torch,sfm]" && rm -r /wheels
RUN useradd --create-home m2h && mkdir /data /cache && chmod 777 /data /cache
# Compiled kernels and fetched weights; a volume here keeps them.
ENV NUMBA_CACHE_DIR=/cache/numba XDG_CACHE_HOME=/cache
USER m2h
WORKDIR /data
ENTRYPOINT ["m2h"]
CMD ["--help"]
