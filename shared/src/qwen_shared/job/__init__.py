"""How a run is made, by any engine: its parent model, the frame around training, signals, the watchdog, the export."""
