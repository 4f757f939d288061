"""An experiment: stages in order, samples, report; the run's folder and its record; the ablation."""
