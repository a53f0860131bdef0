"""This package's own trainer on Detectron2: loader, steps, stages, evaluation, the command."""
