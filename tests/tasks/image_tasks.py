"""Running a task over folders with a real Trainer, in this process."""

from lightning import LightningDataModule, Trainer

from callbacks.result_writer import ResultWriter
from datamodules.image_folders import ImageFolders
from datamodules.roles import Role
from desra.ledger import Ledger


def upscalings(root, labels: bool = False, **settings) -> ImageFolders:
    """MSE-SR and GAN-SR of an artifact set, as the detecting tasks read them."""
    roles = {
        **dict.fromkeys(("mse_sr", "gan_sr"), Role()),
        "lr": Role(required=False),
        "gt_mask": Role(kind="label", required=labels),
    }
    return ImageFolders(roles, root, num_workers=0, **settings)


def mask_pairs(pred, gt, **pictures) -> ImageFolders:
    """Detected masks, their labels, and pictures of any role."""
    masks = {"mask": Role(pred, "mask"), "gt_mask": Role(gt, "label")}
    others = {role: Role(root, required=False) for role, root in pictures.items()}
    return ImageFolders({**masks, **others}, num_workers=0)


def run_task(task, data: LightningDataModule) -> list[str]:
    """Run an `ImageTask` over its images as the entry points do; one line a failed image."""
    ledger = Ledger(task.output_dir, task.name, task.settings)
    data.bind(task, ledger)
    writer = ResultWriter(ledger, [match.key for match in data.matches])
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[writer],
    )
    trainer.predict(task, data, return_predictions=False)
    return writer.failures
