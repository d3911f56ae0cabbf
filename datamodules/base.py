"""What all data modules share: how samples are split, ordered, scaled, augmented and handed out."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from recipebench.datamodules.batches import Batches, Samples, Split
from recipebench.datamodules.catalog import (
    check_validation,
    held_out_count,
    train_count,
    validation_count,
)
from recipebench.datamodules.draws import fit_to, generator, noisy_labels, permutation, with_replacement
from recipebench.datamodules.options import (
    INPUTS,
    LAST_BATCHES,
    SAMPLINGS,
    Options,
    augmentation_of,
    noise_share,
    one_of,
    samples_per_epoch,
    whole,
)
from recipebench.datamodules.recorded import RecordedDataModule
from recipebench.levels import Choice, Value

__all__ = ["INPUTS", "Batches", "Options", "Samples", "Split", "TensorDataModule"]


class TensorDataModule(RecordedDataModule):
    """A data set that fits in memory, as a Lightning data module.

    Subclasses name themselves, declare their `facts` and `load` their tensors. Split, label noise and
    orders depend on the data set, its parameters and `seed` only.

    Args:
        parameters: the data set's own parameters in canonical form, all of them.
        batch_size: samples a batch; the last batch of an epoch may be shorter.
        validation: samples (int) or share (float) of the training data set aside for validation.
        train_samples: how many of the remaining samples to train on, the first of the seed's
            permutation, so that smaller sets are subsets of larger ones; None for all.
        label_noise: share in [0, 1) of the training labels that another class replaces, drawn
            uniformly from the others; round(share * samples) of them exactly. Classification only;
            validation and test stay clean.
        inputs: `unit` (images in [0, 1], features as they are) or `standardized` (mean 0, variance 1;
            see `float_inputs`).
        last_batch: what becomes of a short last batch: `keep`, `drop`, or `refill` with the first
            samples of the next epoch's order.
        sampling: `shuffled` (each training sample once an epoch) or `replacement` (as many
            independent draws).
        augmentation: what is done to the training images, anew every epoch: a level of
            `catalog.AUGMENTATIONS`, with its parameters or without.
        seed: names split, label noise, orders and augmentation noise.

    Attributes:
        name: as in suites and records.
        facts: what is known of the data set.
        needs_files: whether it is read from files, and so takes a `data_dir`.
        choice: name and parameters.
        key: name and parameters as one string, the address of its random streams.
        augmentation: the chosen level with all its parameters.

    Raises:
        RequestError: an option has the wrong type or value, or does not fit the data set.
    """

    def __init__(
        self,
        parameters: Mapping[str, Value] | None = None,
        *,
        batch_size: int = 128,
        validation: int | float = 0.1,
        train_samples: int | None = None,
        label_noise: float = 0.0,
        inputs: str = "unit",
        last_batch: str = "keep",
        sampling: str = "shuffled",
        augmentation: str | Mapping[str, object] | Choice = "none",
        seed: int = 0,
    ) -> None:
        super().__init__(parameters or {}, batch_size=batch_size, seed=seed)
        check_validation(validation, self.name)
        self.validation_size = validation
        self.train_samples = (
            None if train_samples is None else whole("train_samples", train_samples, minimum=1)
        )
        self.label_noise = noise_share(label_noise, self.facts, self.name)
        self.inputs = one_of("inputs", inputs, INPUTS, self.name)
        self.last_batch = one_of("last_batch", last_batch, LAST_BATCHES, self.name)
        self.sampling = one_of("sampling", sampling, SAMPLINGS, self.name)
        self.augmentation = augmentation_of(augmentation, self.facts, self.name)
        self._splits: dict[str, Split] = {}
        self._kind = torch.float32
        self._moments: tuple[Tensor, Tensor] | None = None

    @property
    def inputs_are_shared(self) -> bool:
        """Whether `float_inputs` is the same function for every seed, and not one of the split."""
        return not (self.facts.per_feature and self.inputs == "standardized")

    @property
    def targets_are_shared(self) -> bool:
        """Whether the training targets are the same for every seed, and not noisy."""
        return not self.label_noise

    @property
    def train(self) -> Split:
        """The samples to train on; there after `setup`. Has targets of its own under label noise."""
        return self._split("train")

    @property
    def validation(self) -> Split:
        """The samples to choose by; there after `setup`. Shares its inputs with `train`."""
        return self._split("validation")

    @property
    def test(self) -> Split:
        """The samples to report on; there after `setup`. Never depends on `validation`."""
        return self._split("test")

    @abstractmethod
    def load(self) -> tuple[Samples, Samples | None]:
        """Return the training samples and the official test samples (None where there are none)."""

    def setup(self, stage: str | None = None) -> None:
        """Load and split the data; a second call does nothing.

        Args:
            stage: Lightning's name for what follows; all splits are made whatever it is.

        Raises:
            RequestError: files are missing or corrupt, or `validation`, `train_samples` or `last_batch`
                does not fit the data.
        """
        if not self._splits:
            self._splits = self._divide(*self.load())

    def place(
        self, kind: torch.dtype, device: torch.device, moved: dict[Tensor, Tensor] | None = None
    ) -> None:
        """Compute with other numbers from now on, and keep all samples on a device.

        Args:
            kind: of inputs, which are rounded to float32 before, and of targets that are no classes.
            device: where samples lie and batches are gathered.
            moved: what is there already, by its source; data modules that are placed with the same one share
                what they shared before.
        """
        moved = {} if moved is None else moved
        self._kind = kind
        if not self.inputs_are_shared:
            mean, std = self._feature_moments()
            self._moments = mean.to(device), std.to(device)
        for name, split in self._splits.items():
            if split.inputs not in moved:
                moved[split.inputs] = split.inputs.to(device)
            if split.targets not in moved:
                wanted = kind if split.targets.is_floating_point() else split.targets.dtype
                moved[split.targets] = split.targets.to(device, wanted)
            indices = split.indices.to(device)
            self._splits[name] = Split(moved[split.inputs], moved[split.targets], indices)

    def float_inputs(self, raw: Tensor) -> Tensor:
        """Turn raw inputs into what a model takes; `raw` itself is left alone.

        unit: x = raw / scale, so images lie in [0, 1] (scale 255 or 16) and features stay as they are;
        standardized: (x - mean) / std, with the constants of `facts`, or, where `facts.per_feature`
        says so, with the mean and the population standard deviation of each feature over the training
        split (a constant feature is divided by 1). Those numbers serve validation and test too.

        Args:
            raw: (batch, ...) as in `Split.inputs`, any number of samples.

        Returns:
            float32 (or what `place` has said) of the same shape, the same bits for a sample in whatever batch
            it comes.

        References:
            Ng, Improving Deep Neural Networks, 1.9 (normalize the test set with the training numbers).
        """
        x = raw.to(torch.float32, copy=True).div_(self.facts.scale)
        if self.inputs == "standardized" and not self.facts.per_feature:
            x.sub_(self.facts.mean).div_(self.facts.std)
        elif self.inputs == "standardized":
            mean, std = self._feature_moments()
            x.sub_(mean.to(x.device)).div_(std.to(x.device))
        return x.to(self._kind)

    def order(self, epoch: int) -> Tensor:
        """Return the training samples in the order of an epoch, cut or completed as `last_batch` says.

        Args:
            epoch: counted from 1.

        Returns:
            int64 (samples,) from `train.indices`: each of them once where samples are shuffled and the
            last batch is kept; a multiple of the batch size where it is dropped or refilled.

        Raises:
            RequestError: `epoch` is no whole number of at least 1.
        """
        whole("epoch", epoch, minimum=1)
        return fit_to(self._samples_per_epoch(len(self.train)), self._full_order, epoch)

    def augment(self, inputs: Tensor, noise: torch.Generator) -> Tensor:
        """Alter training images as `augmentation` says; `inputs` itself is left alone.

        As if before they were standardized: what moves in from outside has the value of a black pixel,
        and brightness is measured on the scale from black to full.

        Args:
            inputs: (batch, channels, height, width) float32, as `float_inputs` returns them.
            noise: what is drawn from; see `augmentation_noise`.

        Returns:
            float32 of the same shape; `inputs` itself where there is no augmentation.
        """
        if self.augmentation.name == "none":
            return inputs
        from recipebench.datamodules.augmentation import augment

        fill, full = self.float_inputs(torch.tensor([0.0, self.facts.scale])).tolist()
        return augment(self.augmentation, inputs, noise, fill=fill, full=full)

    def augmentation_noise(self, epoch: int) -> torch.Generator:
        """Return a fresh generator for the augmentation of an epoch, to be used batch by batch, in order.

        Args:
            epoch: counted from 1.
        """
        return generator("augmentation", self.key, self.seed, epoch)

    def train_dataloader(self) -> Batches:
        """Return the training batches, in a new order and augmented anew every epoch."""
        return Batches(
            self.train,
            batch_size=self.batch_size,
            transform=self.float_inputs,
            order=self.order,
            samples=self._samples_per_epoch(len(self.train)),
            augment=None if self.augmentation.name == "none" else self._augmentation_of,
        )

    def val_dataloader(self) -> Batches:
        """Return the validation batches, in a fixed order."""
        return self._batches(self.validation)

    def test_dataloader(self) -> Batches:
        """Return the test batches, in a fixed order."""
        return self._batches(self.test)

    def _batches(self, split: Split) -> Batches:
        return Batches(split, batch_size=self.batch_size, transform=self.float_inputs)

    def _samples_per_epoch(self, train: int) -> int:
        return samples_per_epoch(train, self.batch_size, self.last_batch, self.name)

    def _full_order(self, epoch: int) -> Tensor:
        draw = permutation if self.sampling == "shuffled" else with_replacement
        return self.train.indices[draw(len(self.train), "order", self.key, self.seed, epoch)]

    def _augmentation_of(self, epoch: int) -> Callable[[Tensor], Tensor]:
        noise = self.augmentation_noise(epoch)
        return lambda inputs: self.augment(inputs, noise)

    def _feature_moments(self) -> tuple[Tensor, Tensor]:
        if self._moments is None:
            self._moments = _moments(self.train.inputs[self.train.indices])
        return self._moments

    def _split(self, name: str) -> Split:
        if not self._splits:
            raise RuntimeError(f"{self.name}: call setup() before {name}.")
        return self._splits[name]

    def _divide(self, samples: Samples, test: Samples | None) -> dict[str, Split]:
        shuffled = permutation(len(samples.targets), "split", self.key, self.seed)
        held_out = 0 if test else held_out_count(len(shuffled))
        count = validation_count(self.validation_size, len(shuffled) - held_out, self.name)
        pieces = torch.split(shuffled, [held_out, count, len(shuffled) - held_out - count])
        wanted = train_count(self.train_samples, len(pieces[2]), self.name)
        self._samples_per_epoch(wanted)
        tested, validated, trained = (_rows(samples, piece) for piece in (*pieces[:2], pieces[2][:wanted]))
        if test:
            tested = _rows(test, torch.arange(len(test.targets)))
        return {"train": self._with_noise(trained), "validation": validated, "test": tested}

    def _with_noise(self, split: Split) -> Split:
        if not self.label_noise:
            return split
        noisy = noisy_labels(
            split.targets, split.indices, self.label_noise, self.out_features, self.key, self.seed
        )
        return Split(split.inputs, noisy, split.indices)


def _rows(samples: Samples, indices: Tensor) -> Split:
    return Split(samples.inputs, samples.targets, indices.sort().values)


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and population standard deviation of each column; exact sums, so alike on every machine."""
    columns = features.double().numpy().T
    n = len(features)
    means = [math.fsum(column) / n for column in columns]
    squares = [math.fsum((column - mean) ** 2) / n for column, mean in zip(columns, means, strict=True)]
    deviations = [math.sqrt(square) or 1.0 for square in squares]
    return torch.tensor(means), torch.tensor(deviations)
