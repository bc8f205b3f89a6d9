"""EventBridge Scheduler: schedules and their groups. What fires them: services/scheduler/schedules/."""
