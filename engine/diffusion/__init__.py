"""Diffusion as functions: schedules, samplers, guidance, windows. Any callable can denoise."""
