"""What every executor on other machines shares: what is sent with a job, what comes home, who is tried again."""
