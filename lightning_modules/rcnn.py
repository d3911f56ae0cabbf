"""R-CNN: regions of an image, features of a convolutional network, a class and a box for each region.

Source: Girshick, Donahue, Darrell and Malik, Rich Feature Hierarchies for Accurate Object Detection and
Semantic Segmentation, CVPR 2014. Departures: a small network from random weights instead of a large one
from ImageNet; softmax and box regression learned together with one loss (Girshick, Fast R-CNN, ICCV
2015) instead of fine-tuning, support vector machines and ridge regression one after the other; every
region of an image in each step, weighted as the source composes its batches, instead of a sample.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from recipebench.errors import RequestError
from recipebench.lightning_modules.boxes import areas, clip, decode, nms
from recipebench.lightning_modules.catalog import INITIALIZERS, OPTIMIZERS, SCHEDULES
from recipebench.lightning_modules.detection_scores import MeanAveragePrecision
from recipebench.lightning_modules.initializers import initialize_network
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.rcnn_regions import (
    Look,
    crop_regions,
    image_loss,
    objects,
    proposals,
    with_truth,
)
from recipebench.lightning_modules.recorded import SteppedModule
from recipebench.lightning_modules.supervised import Spec

if TYPE_CHECKING:
    from recipebench.datamodules import TensorDataModule

FEATURES = 64
"""Numbers that describe a region."""

LEAST_SCORE = 0.05
"""Probability of a class from which a region is kept as a detection."""

EVALUATION_IMAGES = 16
"""Images that are evaluated at a time."""


class RCNN(SteppedModule):
    """A detector: class-independent regions, each cropped, resized, classified and moved.

    1. `propose` finds regions in the image alone. 2. Each is cropped with some context and resized to a
    square, whatever its shape. 3. A convolutional network turns it into features. 4. Two linear layers
    give the scores of the classes and of background, and for each class the offsets of a better box.
    5. For each class by itself, non-maximum suppression keeps the best of boxes that overlap.

    Training regions are the proposals and the true boxes. One that overlaps a true box by at least
    `POSITIVE` has its class u and offsets v, the others are background. An image's loss is

        L = s mean over positives of [-log p_u + sum over x, y, w, h of smooth_L1(t_u - v)]
            + (1 - s) mean over background of [-log p_background],    s = `POSITIVE_SHARE`,

    and an image with regions of one kind only has that mean alone.

    Args:
        out_features: classes, background not counted.
        crop: side in pixels to which regions are resized, a multiple of 4.
        suppression: intersection over union above which the worse of two boxes of a class is dropped.
        initializer: how linear layers and convolutions start; a level of the catalog.
        optimizer: a level of the catalog.
        schedule: a level of the catalog.
        init_seed: names the streams of the initial draws; None draws one from torch's global generator.

    Shape:
        Crops (regions, 1, crop, crop) float32 to scores (regions, classes + 1), the last of background,
        and offsets (regions, classes, 4). Whole images go to `predict`.

    Raises:
        RequestError: a level or a hyper-parameter is wrong.

    Example:
        >>> model = RCNN(init_seed=0)
        >>> scores, offsets = model(torch.zeros(3, 1, 20, 20))
        >>> tuple(scores.shape), tuple(offsets.shape)
        ((3, 11), (3, 10, 4))

    References:
        Girshick et al., CVPR 2014; Girshick, Fast R-CNN, ICCV 2015 (the joint loss, smooth L1).
    """

    task = "detection"

    def __init__(
        self,
        *,
        out_features: int = 10,
        crop: int = 20,
        suppression: float = 0.3,
        initializer: Spec = "he",
        optimizer: Spec = "sgd",
        schedule: Spec = "constant",
        init_seed: int | None = None,
    ) -> None:
        super().__init__()
        MODELS.choose({"rcnn": {"crop": crop, "suppression": suppression}})
        if crop % 4:
            raise RequestError(f"rcnn: crop: expected a multiple of 4, got {crop}.")
        self.classes = out_features
        self.crop = crop
        self.suppression = suppression
        self.initializer = INITIALIZERS.choose(initializer)
        self.optimizer = OPTIMIZERS.choose(optimizer)
        self.schedule = SCHEDULES.choose(schedule)
        self.features = build_features(crop)
        self.scorer = nn.Linear(FEATURES, out_features + 1)
        self.regressor = nn.Linear(FEATURES, 4 * out_features)
        self.mean_loss = MeanMetric(nan_strategy="disable").set_dtype(torch.float64)
        self.mean_average_precision = MeanAveragePrecision()
        self._initialize(int(torch.randint(2**62, ())) if init_seed is None else init_seed)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores (regions, classes + 1) and the offsets (regions, classes, 4) of crops."""
        features = self.features(crops)
        return self.scorer(features), self.regressor(features).view(-1, self.classes, 4)

    @torch.no_grad()
    def predict(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Detect objects.

        Args:
            images: (batch, 1, height, width) float32, bright objects on a dark ground.

        Returns:
            For each image its detections, best first: `boxes` (n, 4) float32 in pixels, inside the
            image; `labels` (n,) int64; `scores` (n,) float32, the softmax probability of the label.
        """
        height, width = images.shape[2:]
        return [self._detections(look, height, width) for look in self._look(images, proposals(images))]

    def losses(self, images: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of every image, (batch,) float32; see the class.

        Args:
            images: (batch, 1, height, width) float32.
            targets: (batch, most objects, 5) float32: x1, y1, x2, y2, class; rows of -1 are no objects.
        """
        truth = [objects(rows) for rows in targets]
        looks = self._look(images, with_truth(proposals(images), truth))
        return torch.stack([image_loss(*look, true) for look, true in zip(looks, truth, strict=True)])

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return the mean loss to minimize, and for the record the losses of the images and no penalty."""
        losses = self.losses(*batch)
        return {"loss": losses.mean(), "losses": losses.detach(), "penalty": losses.new_zeros(())}

    def score(self, data: TensorDataModule, split: str) -> dict[str, float]:
        """Return the mean loss of the images and the mean average precision at IoU 0.5 of a split.

        Args:
            data: set up, with the splits `train`, `validation` and `test`.
            split: one of them; all of its images are used, as they are.
        """
        self._reset()
        members = getattr(data, split)
        for chosen in members.indices.split(EVALUATION_IMAGES):
            images = data.float_inputs(members.inputs.index_select(0, chosen))
            self._evaluate((images, members.targets.index_select(0, chosen)))
        scores = {name: float(value) for name, value in self._scores().items()}
        self._reset()
        return scores

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add a batch to the validation scores."""
        self._evaluate(batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add a batch to the test scores."""
        self._evaluate(batch)

    def on_validation_epoch_start(self) -> None:
        """Forget what an interrupted evaluation left."""
        self._reset()

    def on_test_epoch_start(self) -> None:
        """Forget what an interrupted evaluation left."""
        self._reset()

    def on_validation_epoch_end(self) -> None:
        """Log `validation_loss` and `validation_average_precision`."""
        self.log_dict({f"validation_{name}": value for name, value in self._scores().items()})

    def on_test_epoch_end(self) -> None:
        """Log `test_loss` and `test_average_precision`."""
        self.log_dict({f"test_{name}": value for name, value in self._scores().items()})

    def _initialize(self, seed: int) -> None:
        for head in ("scorer", "regressor"):  # both read the features, which are drawn alike twice
            path = OrderedDict([("features", self.features), (head, getattr(self, head))])
            initialize_network(nn.Sequential(path), self.initializer, seed)

    def _look(self, images: Tensor, regions: Sequence[Tensor]) -> list[Look]:
        scores, offsets = self(crop_regions(images, regions, self.crop))
        counts = [len(boxes) for boxes in regions]
        parts = zip(regions, scores.split(counts), offsets.split(counts), strict=True)
        return [Look(*part) for part in parts]

    def _detections(self, look: Look, height: int, width: int) -> dict[str, Tensor]:
        shares = look.scores.softmax(1)[:, :-1]
        rows, labels = (shares >= LEAST_SCORE).nonzero(as_tuple=True)
        boxes = clip(decode(look.regions[rows], look.offsets[rows, labels]), height, width)
        real = areas(boxes) > 0
        boxes, labels, scores = boxes[real], labels[real], shares[rows, labels][real]
        kept = [labels.new_empty(0)]
        for label in labels.unique():
            mine = (labels == label).nonzero()[:, 0]
            kept.append(mine[nms(boxes[mine], scores[mine], self.suppression)])
        chosen = torch.cat(kept)
        chosen = chosen[scores[chosen].argsort(descending=True, stable=True)]
        return {"boxes": boxes[chosen], "labels": labels[chosen], "scores": scores[chosen]}

    @torch.no_grad()
    def _evaluate(self, batch: tuple[Tensor, Tensor]) -> None:
        """Add images to the scores; one pass over proposals and true boxes serves losses and detections."""
        images, targets = batch
        height, width = images.shape[2:]
        truth, found = [objects(rows) for rows in targets], proposals(images)
        looks = self._look(images, with_truth(found, truth))
        losses = [image_loss(*look, true) for look, true in zip(looks, truth, strict=True)]
        proposed = [look.first(len(boxes)) for look, boxes in zip(looks, found, strict=True)]
        detected = [self._detections(look, height, width) for look in proposed]
        self.mean_loss.update(torch.stack(losses).double())
        self.mean_average_precision.update(detected, truth)

    def _scores(self) -> dict[str, Tensor]:
        return {
            "loss": self.mean_loss.compute(),
            "average_precision": self.mean_average_precision.compute(),
        }

    def _reset(self) -> None:
        self.mean_loss.reset()
        self.mean_average_precision.reset()


def build_features(crop: int) -> nn.Sequential:
    """Return the layers that turn a crop (regions, 1, crop, crop) into `FEATURES` numbers.

    Two convolutions of 3 x 3 with 16 and 32 filters, each with ReLU and a pool that halves the sides,
    then a linear layer with ReLU.
    """
    return nn.Sequential(
        OrderedDict(
            conv_1=nn.Conv2d(1, 16, 3, padding=1),
            activation_1=nn.ReLU(),
            pool_1=nn.MaxPool2d(2),
            conv_2=nn.Conv2d(16, 32, 3, padding=1),
            activation_2=nn.ReLU(),
            pool_2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            linear=nn.Linear(32 * (crop // 4) ** 2, FEATURES),
            activation_3=nn.ReLU(),
        )
    )
