-- One server, a database for each service: flowguard's is made by POSTGRES_DB.
CREATE DATABASE mlflow;
CREATE DATABASE prefect;
