"""Gradients over several CPU threads that share one set of weights.

A step's batch is cut into small jobs and each thread takes the next one as soon as it is free, so a core that other programs
also use delays a step by one job at most; with threads inside each operation every product would wait for it. Operations run
on one thread each (they hold no lock of Python's) in bfloat16; weights, gradients and optimisers are float32.
"""
import threading
from concurrent.futures import ThreadPoolExecutor

import torch


class Workers:
    def __init__(self, threads):
        torch.set_num_threads(1)
        self.pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))

    def map(self, work, jobs):
        return list(self.pool.map(work, jobs))

    def gradients(self, weights, jobs, loss_of):
        """Sums the gradients of `loss_of(leaves, job)` over the jobs: ({name: float32}, [loss of each job])."""
        leaves = {name: half(w).requires_grad_() for name, w in weights.items()}
        sums, mine = [], threading.local()

        def work(job):
            loss = loss_of(leaves, job)
            found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
            if not hasattr(mine, "sum"):
                mine.sum = [torch.zeros_like(w) for w in weights.values()]
                sums.append(mine.sum)
            for total, gradient in zip(mine.sum, found):
                if gradient is not None:
                    total.add_(gradient)
            return float(loss.detach())

        losses = self.map(work, jobs)
        for other in sums[1:]:
            for total, gradient in zip(sums[0], other):
                total.add_(gradient)
        return dict(zip(weights, sums[0])), losses


def half(w):
    """A bfloat16 copy, laid out as convolutions are fastest where it is one."""
    w = w.detach().bfloat16()
    return w.contiguous(memory_format=torch.channels_last) if w.ndim == 4 else w.clone()
