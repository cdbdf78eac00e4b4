"""The connection to RabbitMQ. Only this package and `consumer` import pika."""
