"""What every evaluation by generated answers needs: tasks by name, prompts, counting, work that goes on, reports."""
