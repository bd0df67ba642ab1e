"""Running a task over folders with a real Trainer, in this process."""

from lightning import LightningDataModule, Trainer

from callbacks.result_writer import ResultWriter
from desra.ledger import Ledger


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
