"""A training run whose state is kept in its folder, so that one that is stopped goes on where it was."""
import torch

from optimisers import save


class Run:
    """Weights and optimisers, all updated in place, and the number of steps done; `state.pt` is read where there is one."""

    def __init__(self, folder, w, muon, adam):
        self.folder, self.w, self.muon, self.adam, self.step = folder, w, muon, adam, 0
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "state.pt").exists():
            saved = torch.load(folder / "state.pt", weights_only=True)
            self.step = int(saved["place"]["step"])
            for mine, was in ((w, saved["weights"]), (muon.state, saved["muon"]), (adam.state, saved["adam"])):
                for name, value in mine.items():
                    value.copy_(was[name])

    def keep(self, name="state.pt"):
        save(self.folder / name, weights=self.w, muon=self.muon.state, adam=self.adam.state, place={"step": torch.tensor(self.step)})

    def update(self, gradients, factor, workers):
        self.muon.step(gradients, factor, workers)
        self.adam.step(gradients, factor)
        self.step += 1


def factor_at(share, warm, fall):
    """The rate of learning as a share of its peak: rising until `warm`, constant, falling to nothing from `fall` on."""
    return min(1.0, share / warm, (1 - share) / (1 - fall))
