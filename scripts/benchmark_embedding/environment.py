"""The Python environment and the ONNX files of the benchmark, made once in a working folder."""

import hashlib
import os
import subprocess
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"


class Environment:
    """What the workers of the peers run with."""

    def __init__(self, work, model, threads):
        self.work = work.resolve()
        self.model = model.resolve()
        self.threads = threads

    @property
    def python(self):
        return self.work / "venv/bin/python"

    def onnx(self, graph):
        """The file of one graph that `export_onnx.py` names."""
        return self.work / "onnx" / f"{graph}.onnx"

    def variables(self):
        """The environment variables of every measured process, ours too."""
        count = str(self.threads)
        return os.environ | {
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": count,
            "MKL_NUM_THREADS": count,
            # The tokenizers of both sides.
            "RAYON_NUM_THREADS": count,
            "TOKENIZERS_PARALLELISM": "true",
        }

    def prepare(self):
        """Makes what is missing, or was made of another model or other packages."""
        install_packages(self.work, REQUIREMENTS)
        exporter = HERE / "export_onnx.py"
        graphs = " ".join([digest(REQUIREMENTS), digest(exporter), digest(self.model / "model.safetensors")])
        if marked(self.work / "onnx.made") != graphs:
            say(f"exporting {self.model} to {self.work / 'onnx'}")
            command = [self.python, exporter, self.model, self.work / "onnx"]
            subprocess.run(command, check=True, env=self.variables())
            mark(self.work / "onnx.made", graphs)


def install_packages(work, requirements):
    """Makes `venv` in the working folder unless it is there with these packages."""
    packages = digest(requirements)
    if marked(work / "venv.made") != packages:
        say(f"installing {requirements.name} into {work / 'venv'} (several GB)")
        venv.create(work / "venv", with_pip=True, clear=True)
        install = ["-m", "pip", "install", "--quiet", "--requirement", requirements]
        subprocess.run([work / "venv/bin/python", *install], check=True)
        mark(work / "venv.made", packages)


def say(text):
    print(text, flush=True)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def marked(path):
    return path.read_text() if path.is_file() else None


def mark(path, text):
    path.write_text(text)
