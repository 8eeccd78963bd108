"""A whole process of sentence-transformers, as `coderag embed` is one: loads a model, embeds a file.

    sentence_transformers_process.py MODEL_DIRECTORY TEXTS.jsonl OUTPUT.npy THREADS
"""

import sys

import numpy
import torch
from orders import read_texts
from sentence_transformers import SentenceTransformer

directory, texts, output, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
model = SentenceTransformer(directory, device="cpu")
numpy.save(output, model.encode(read_texts(texts, 1), show_progress_bar=False))
